# What every image of the project starts from: Debian without documentation, and `apt-install` for the layers above.
FROM debian:trixie-slim
ARG MIRROR=http://deb.debian.org/debian
COPY apt-install /usr/local/sbin/apt-install
COPY dpkg-excludes /etc/dpkg/dpkg.cfg.d/docker
RUN sed -i "s|http://deb.debian.org/debian$|$MIRROR|; s|http://deb.debian.org/debian |$MIRROR |" \
        /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null; \
    apt-install busybox
ENV LANG=C.UTF-8
