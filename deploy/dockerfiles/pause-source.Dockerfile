# Only a way to get Debian's static catatonit.
FROM pykube/base
RUN apt-install catatonit
