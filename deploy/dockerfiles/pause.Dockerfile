# The sandbox of a pod: one static program that reaps zombies and waits.
FROM scratch
COPY catatonit /catatonit
USER 65535:65535
ENTRYPOINT ["/catatonit", "-P"]
