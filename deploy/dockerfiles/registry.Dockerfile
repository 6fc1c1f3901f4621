# Debian's image registry, with everything nodes pull to become a working cluster already in it.
FROM pykube/base
RUN apt-install docker-registry && install -d /var/lib/registry
COPY registry.yml /etc/docker/registry/config.yml
COPY registry-start /usr/local/bin/registry-start
COPY stable /usr/share/pykube/registry
COPY changing /usr/share/pykube/registry
ENTRYPOINT ["registry-start"]
