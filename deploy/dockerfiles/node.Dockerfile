# A machine: container engine, packet filter, network tools. The code comes on top.
FROM pykube/packages
RUN apt-install catatonit conntrack docker-cli docker.io iproute2 nftables \
    && rm -f /usr/bin/docker-proxy /usr/sbin/docker-proxy
ENTRYPOINT ["catatonit", "--", "python3", "-m", "deploy.node"]
STOPSIGNAL SIGTERM
VOLUME /var/lib/docker /var/lib/kubelet
