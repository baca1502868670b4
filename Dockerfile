# docker build -t facemtl . && docker run --rm -p 7860:7860 facemtl
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# What answers and shows; what trains brings gigabytes.
COPY requirements-app.txt ./
RUN pip install --requirement requirements-app.txt
COPY pyproject.toml LICENSE MODEL_CARD.md ./
COPY assets assets
COPY facemtl facemtl
RUN pip install --no-deps .

FROM python:3.11-slim
RUN useradd --create-home --home-dir /app --uid 1000 facemtl
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER facemtl
WORKDIR /app
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=5)"]
CMD ["facemtl", "app", "--host", "0.0.0.0", "--port", "7860"]
