# The server, without the demo and the test tools.
#   docker build -t mediaserver .
#   docker run -p 8000:8000 -v "$PWD:/handlers" mediaserver my_agent:Agent --public-url https://…
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY mediaserver mediaserver
COPY codecs codecs
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/handlers
RUN useradd --system --home-dir /handlers --create-home mediaserver
COPY --from=build /venv /venv
USER mediaserver
WORKDIR /handlers
EXPOSE 8000
# A call can last for hours: give the container at least --drain-timeout to stop.
STOPSIGNAL SIGTERM
# Change the port by MEDIASERVER_PORT: the health check does not see a flag.
HEALTHCHECK --interval=10s --timeout=3s CMD \
  ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:%s/healthz' % os.environ.get('MEDIASERVER_PORT', 8000), timeout=2)"]
ENTRYPOINT ["mediaserver", "serve", "--host", "0.0.0.0"]
CMD ["mediaserver.agents:Echo"]
