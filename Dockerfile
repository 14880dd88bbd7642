# A model behind HTTP, on a machine without a GPU:
#   docker build -t manyeyes .
#   docker run -p 8000:8000 -e MANYEYES_API_KEY=… -v "$PWD/model:/model:ro" -v manyeyes:/home/eyes/manyeyes manyeyes
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 eyes
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
# The versions are bounded in pyproject.toml.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[fast,openvino,serve]'

USER 1000
ENV MANYEYES_HOME=/home/eyes/manyeyes
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz')"]
ENTRYPOINT ["manyeyes"]
CMD ["serve", "/model", "--host", "0.0.0.0", "--port", "8000"]
