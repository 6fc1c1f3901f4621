# Small tools to look at a cluster from inside a pod, and to stand in for an application in tests. BIND's nslookup, since
# busybox' ignores the search path for names with a dot, and `nslookup kubernetes.default` is what everybody tries first.
FROM pykube/base
RUN apt-install bind9-dnsutils curl iproute2 socat \
    && busybox --install -s /usr/local/bin \
    && for name in /usr/local/bin/*; do \
         for folder in /usr/bin /usr/sbin; do [ ! -e "$folder/${name##*/}" ] || rm -f "$name"; done; \
       done
CMD ["sleep", "infinity"]
