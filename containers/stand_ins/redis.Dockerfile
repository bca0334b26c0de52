# Stands in for the official image of Redis: the same user and folder.
ARG BASE
FROM ${BASE}
RUN groupadd --system --gid 999 redis && useradd --system --uid 999 --gid 999 redis \
 && apt-get update && apt-get install --yes --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* \
 && mkdir /data && chown 999:999 /data
VOLUME /data
WORKDIR /data
CMD ["redis-server"]
