# Python 3.13.
FROM pykube/base
RUN apt-install python3
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/usr/lib/pykube
