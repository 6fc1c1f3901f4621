# Python and packages without a distribution around them: nodes pull this, and pay for every file they unpack.
FROM pykube/addons-packages AS source
LABEL pykube.fingerprint=stage
COPY flatten /flatten
RUN python3 /flatten /flat
FROM scratch
COPY --from=source /flat /
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/usr/lib/pykube PATH=/usr/bin LANG=C.UTF-8
CMD ["python3"]
