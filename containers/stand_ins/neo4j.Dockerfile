# Stands in for the official image of Neo4j, of which no package can be had: ArcadeDB, which speaks Bolt and openCypher.
ARG BASE
FROM ${BASE}
RUN groupadd --system --gid 7474 neo4j && useradd --system --uid 7474 --gid 7474 neo4j \
 && mkdir /data /logs && chown 7474:7474 /data /logs
COPY requirements.txt neo4j-server.py /opt/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python -m venv /opt/arcadedb \
 && /opt/arcadedb/bin/pip install --no-cache-dir --require-hashes -r /opt/requirements.txt
VOLUME /data /logs
CMD ["/opt/arcadedb/bin/python", "/opt/neo4j-server.py"]
