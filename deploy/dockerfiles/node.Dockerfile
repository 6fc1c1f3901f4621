# A machine: container engine, packet filter, network tools, the mount program of NFS volumes. The code comes on top.
FROM pykube/packages
RUN apt-install catatonit conntrack docker-cli docker.io iproute2 nfs-common nftables \
    && rm -f /usr/bin/docker-proxy /usr/sbin/docker-proxy
ENTRYPOINT ["catatonit", "--", "python3", "-m", "deploy.node"]
STOPSIGNAL SIGTERM
VOLUME /var/lib/docker /var/lib/kubelet
