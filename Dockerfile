# docker build -t haggle .
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc g++ cmake make libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /haggle
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /data haggle
COPY --from=build /haggle/target/release/haggle /usr/local/bin/haggle
USER haggle
WORKDIR /data
VOLUME /data
ENV HAGGLE_LISTEN=0.0.0.0:8080 HAGGLE_DATA_DIR=/data
EXPOSE 8080
ENTRYPOINT ["haggle"]
CMD ["serve"]
