# Python plus the packages that the host downloaded for it, compiled once here instead of at every start.
FROM pykube/python
COPY packages /usr/local/lib/python3.13/dist-packages
RUN python3 -m compileall -q -j0 --invalidation-mode unchecked-hash /usr/local/lib/python3.13/dist-packages \
    && ldconfig
