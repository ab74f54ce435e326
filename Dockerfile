# The server, without the demo and the test tools.
#   docker build -t mediaserver .
#   docker run -p 8000:8000 -v "$PWD:/handlers" mediaserver my_agent:Agent --public-url https://…
#
# --build-arg EXTRAS=redis,openai installs what the handlers need; see pyproject.toml for the extras.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
ARG EXTRAS=redis,records
WORKDIR /src
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY mediaserver mediaserver
COPY codecs codecs
# Wheels alone, in the versions that the tests ran with: nothing is compiled.
RUN /venv/bin/pip install --no-cache-dir --only-binary :all: --constraint constraints.txt ".[${EXTRAS}]" \
 && /venv/bin/pip check \
 && /venv/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim
ARG REVISION=unknown
ARG VERSION=unknown
# What tools that list the contents of an image look for; packages are found by their metadata in /venv.
LABEL org.opencontainers.image.title="mediaserver" \
      org.opencontainers.image.description="A server for Plivo's audio streams" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Call records and their journal are kept in /var/lib/mediaserver: mount a volume there.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/handlers XDG_STATE_HOME=/var/lib
# The number is that of deploy/helm, because Kubernetes must know that it is not root.
RUN groupadd --system --gid 10001 mediaserver \
 && useradd --system --uid 10001 --gid mediaserver --home-dir /handlers --create-home mediaserver \
 && install -d -o mediaserver -g mediaserver -m 0700 /run/mediaserver /var/lib/mediaserver
COPY --from=build /venv /venv
USER mediaserver
WORKDIR /handlers
EXPOSE 8000
# A call can last for hours: give the container at least --drain-timeout to stop.
STOPSIGNAL SIGTERM
# Change the port by MEDIASERVER_PORT: the health check does not see a flag.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD \
  ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:%s/healthz' % os.environ.get('MEDIASERVER_PORT', 8000), timeout=2)"]
ENTRYPOINT ["mediaserver", "serve", "--host", "0.0.0.0"]
CMD ["mediaserver.agents:Echo"]
