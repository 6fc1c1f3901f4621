# One of the images above plus our own packages: the only layer that a change of code rebuilds.
ARG PARENT
FROM $PARENT
COPY code /usr/local/lib/python3.13/dist-packages
RUN python3 -m compileall -q -j0 --invalidation-mode unchecked-hash /usr/local/lib/python3.13/dist-packages/[a-z]*
