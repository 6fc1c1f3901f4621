# Debian's image registry, with what nodes pull to become a working cluster already in it.
FROM pykube/base
RUN apt-install docker-registry && install -d /var/lib/registry
COPY registry.yml /etc/docker/registry/config.yml
COPY registry-start /usr/local/bin/registry-start
COPY registry /usr/share/pykube/registry
ENTRYPOINT ["registry-start"]
