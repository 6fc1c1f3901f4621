# etcd and etcdctl of Debian, run as the user that owns the data folder.
FROM pykube/base
RUN apt-install etcd-client etcd-server \
    && install -d -o 65532 -g 65532 -m 700 /var/lib/etcd
USER 65532:65532
ENTRYPOINT ["etcd"]
