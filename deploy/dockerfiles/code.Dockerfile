# One of the images below plus our own packages: the only layer that a change of code rebuilds.
ARG PARENT
FROM $PARENT
COPY code /usr/lib/pykube
RUN ["python3", "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash", "/usr/lib/pykube"]
