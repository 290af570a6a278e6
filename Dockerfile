# One image for the API and the workers: compose.yml has the command of each container.
ARG PYTHON_VERSION=3.13
ARG NODE_VERSION=24

FROM node:${NODE_VERSION}-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci
COPY schema.graphql /src/
COPY web ./
# It writes to /src/gql_api/web.
RUN npm run build

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /src
RUN python -m venv /opt/gql-api
COPY requirements.txt ./
RUN /opt/gql-api/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY gql_api gql_api
COPY --from=web /src/gql_api/web gql_api/web
RUN /opt/gql-api/bin/pip install --no-cache-dir --no-deps .

FROM python:${PYTHON_VERSION}-slim
RUN useradd --system --uid 10001 --home-dir /app --create-home app
COPY --from=build /opt/gql-api /opt/gql-api
ENV PATH=/opt/gql-api/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# TASK_MODULES can name task modules that are copied here.
WORKDIR /app
USER 10001
EXPOSE 8000
# The API starts only with authentication (docs/security.md), or with AUTH=none and ALLOW_UNAUTHENTICATED=yes, and with
# ALLOWED_HOSTS.
CMD ["gql-api", "serve", "--host", "0.0.0.0"]
