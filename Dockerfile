# The platform in one image, from which every service of docker-compose.yml that is ours starts.
FROM python:3.11.14-slim-bookworm AS build
ARG EXTRAS=prod,anchors
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
# Packages first: they change less often than our code.
COPY pyproject.toml requirements.lock README.md ./
COPY football_pred/__init__.py football_pred/
RUN python -m venv /opt/football && /opt/football/bin/pip install -c requirements.lock ".[${EXTRAS}]"
COPY football_pred football_pred
# Never imported: the tests of packages, and mypy, which comes with SQLAlchemy[mypy], which Feast asks for.
# Compiled here, because nothing can be written where it runs.
RUN /opt/football/bin/pip install --no-deps --force-reinstall . \
    && /opt/football/bin/pip uninstall --yes mypy ast-serialize pip \
    && find /opt/football/lib -type d -name tests -not -path '*/numpy/*' -prune -exec rm -rf {} + \
    && python -m compileall -q -j 0 /opt/football/lib

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="football_pred" org.opencontainers.image.licenses="Apache-2.0"
# For heads of the ledger: git. For backups: pg_dump as new as the server, which Debian does not have. Its security fixes shall come with each build, so no version is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends postgresql-client-18 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin football \
    && install -d -o football -g football /var/lib/football /app
COPY --from=build /opt/football /opt/football
COPY params /app/params
COPY nbs /app/nbs
# Whatever is written goes to /var/lib/football (kept) or /tmp (not); the rest may be read-only.
ENV PATH=/opt/football/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib IPYTHONDIR=/tmp/ipython JUPYTER_CONFIG_DIR=/tmp/jupyter JUPYTER_DATA_DIR=/tmp/jupyter \
    JUPYTER_RUNTIME_DIR=/tmp/jupyter/runtime \
    FOOTBALL_HOME=/var/lib/football FOOTBALL_PROJECT=/app
WORKDIR /app
VOLUME /var/lib/football
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=8)"]
CMD ["football-pred", "serve", "--host", "0.0.0.0"]
