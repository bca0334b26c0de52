# Two images: `pegasus` runs every process of Pegasus, by its command; `vectors` runs the Chroma server.
# What pip needs to reach an index behind an authority of your own can be given as the secrets pip.conf and certificates;
# they are in no layer.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY locks/build.lock locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=certificates \
    --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/tools \
 && /opt/tools/bin/pip install --require-hashes -r locks/build.lock

# Pegasus itself, in a folder of its own: a release changes this small layer, and leaves what it depends on alone.
FROM tools AS source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN /opt/tools/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir wheels .

FROM tools AS dependencies
COPY locks/image.lock locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=certificates \
    --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/pegasus \
 && /opt/tools/bin/pip --python /opt/pegasus/bin/python install --no-compile --only-binary :all: --require-hashes \
    -r locks/image.lock \
 && /opt/pegasus/bin/python -m compileall -q -j 0 -x /tests/ --invalidation-mode unchecked-hash /opt/pegasus/lib \
 && echo /opt/app > "$(echo /opt/pegasus/lib/python3.*/site-packages)/app.pth"

FROM dependencies AS installed
COPY --from=source /build/wheels wheels
RUN /opt/tools/bin/pip --python /opt/pegasus/bin/python install --no-index --no-deps --no-compile --target /opt/app \
    wheels/*.whl \
 && /opt/pegasus/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/app \
 && /opt/tools/bin/pip --python /opt/pegasus/bin/python check

FROM tools AS chroma
COPY locks/vectors.lock locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=certificates \
    --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/chroma \
 && /opt/tools/bin/pip --python /opt/chroma/bin/python install --no-compile --only-binary :all: --require-hashes \
    -r locks/vectors.lock \
 && /opt/chroma/bin/python -m compileall -q -j 0 -x /tests/ --invalidation-mode unchecked-hash /opt/chroma/lib \
 && /opt/tools/bin/pip --python /opt/chroma/bin/python check \
 && echo /opt/app > "$(echo /opt/chroma/lib/python3.*/site-packages)/app.pth"

FROM ${BASE} AS base
# Bytecode of the standard library, which python:slim leaves out: nothing can be kept on a read-only root, and a health
# check that compiles what it imports, each few seconds, would cost more than all else of an idle container.
RUN python -m compileall -q -x '/(ensurepip|idlelib|lib2to3|test|tkinter|turtledemo|(site|dist)-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && groupadd --system --gid 10001 pegasus \
 && useradd --system --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin pegasus \
 && install --directory --owner 10001 --group 10001 --mode 700 /var/lib/pegasus /var/lib/chroma
# The root may be read-only; /tmp and the folders above are what is written to.
ENV HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0 REVISION=unknown
LABEL org.opencontainers.image.vendor="Pegasus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001

FROM base AS vectors
LABEL org.opencontainers.image.title="Chroma for Pegasus" \
      org.opencontainers.image.description="A Chroma server that has its directory for itself."
COPY --from=chroma /opt/chroma /opt/chroma
COPY --from=installed /opt/app /opt/app
# Where a platform mounts volumes of its own, as Fargate does, they get the owner and the rights that these have here.
VOLUME ["/tmp", "/var/lib/chroma"]
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/opt/chroma/bin/python", "-ISc", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/api/v2/heartbeat', timeout=4)"]
ENTRYPOINT ["/opt/chroma/bin/python", "-m", "pegasus.vector_server", "--data", "/var/lib/chroma", "--host", "0.0.0.0"]

FROM base AS pegasus
LABEL org.opencontainers.image.title="Pegasus" \
      org.opencontainers.image.description="The backend of a second brain: documents in, answers out, every citation checked."
ENV PATH=/opt/app/bin:/opt/pegasus/bin:${PATH} \
    PEGASUS_HOST=0.0.0.0 PEGASUS_PORT=8000 PEGASUS_DATA=/var/lib/pegasus PEGASUS_LOG_FORMAT=json
COPY --from=dependencies /opt/pegasus /opt/pegasus
COPY --from=installed /opt/app /opt/app
# Amazon's authorities for RDS, which are in no system's list: for sslrootcert in DATABASE_URL.
COPY src/pegasus_aws/rds-global-bundle.pem /opt/pegasus/rds-global-bundle.pem
VOLUME ["/tmp", "/var/lib/pegasus"]
EXPOSE 8000
# `api`, `worker` and `scheduler` all answer it; what runs once and ends is never asked.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-ISc", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["pegasus"]
CMD ["api"]
