# A container of the exact versions of requirements.lock:
#   docker build -t emodrift .
#   docker run --rm -v "$PWD/results:/emodrift/results" emodrift --cores 2
# What follows the image's name goes to Snakemake; the default study runs without arguments.
FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /emodrift
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir -r requirements.lock
COPY workflow workflow
RUN pip install --no-cache-dir --no-build-isolation --no-deps -e .
COPY Snakefile ./
COPY config config
COPY profiles profiles
COPY resources resources
ENTRYPOINT ["snakemake"]
CMD ["--cores", "all"]
