# What every image of the project starts from: Debian without documentation, and `apt-install` for the layers above.
FROM debian:trixie-slim
# The mirror of the machine that builds; without it, the one that the parent image names.
ARG MIRROR=
COPY apt-install /usr/local/sbin/apt-install
COPY dpkg-excludes /etc/dpkg/dpkg.cfg.d/docker
RUN if [ -n "$MIRROR" ]; then \
        for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do \
            [ ! -e "$file" ] || sed -Ei "s#[a-z]+://[^ ]+/debian/?( |\$)#$MIRROR\1#" "$file"; \
        done; \
    fi; \
    apt-install busybox
ENV LANG=C.UTF-8
