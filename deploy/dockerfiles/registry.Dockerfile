# The registry with the images that hold our own code, apart from all that changes less.
FROM pykube/registry-base
COPY registry /usr/share/pykube/registry
COPY preloaded /usr/share/pykube/registry/preloaded
