# One image, every role: docker run appizer run ROLE. It has no embedded servers: give it the three
# URLs as docker-compose.yml does.

FROM python:3.11.14-slim-trixie AS build
WORKDIR /source
RUN python -m venv /venv
COPY requirements-server.lock deploy/requirements-build.lock ./
RUN python -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements-server.lock
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY commands commands
COPY projections projections
COPY infrastructure infrastructure
COPY api api
# Without isolation pip would fetch the build backend, unhashed.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /venv/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.11.14-slim-trixie
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin appizer
COPY --from=build /venv /venv
COPY deploy/healthy.py /app/deploy/healthy.py
COPY LICENSE /app/LICENSE
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER appizer
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["appizer"]
CMD ["--help"]
