# The image holds one static binary and three empty folders; there is no shell and no package to patch.
# `make image` builds the binary into target/image first, so that the engine needs no Rust and no network.
FROM scratch

COPY target/image/portcullis /portcullis

# A new named volume inherits the owner of the folder that it covers: these folders make new volumes writable for user
# 65532.
COPY --chown=65532:65532 target/image/data /data
COPY --chown=65532:65532 target/image/certs /certs
COPY --chown=65532:65532 target/image/users /users
VOLUME ["/data", "/certs", "/users"]

# The working directory is `/`, so that the defaults (./data, ./certs, ./portcullis.toml) are /data, /certs and
# /portcullis.toml without a variable that would contradict a mounted configuration file. Only the users file has
# a folder of its own: it is replaced by renaming, which a read-only `/` or a bind-mounted single file forbids.
ENV PORTCULLIS_AUTH__HTPASSWD=/users/htpasswd

# Numeric, because an image from scratch has no /etc/passwd. Port 443 needs no privilege here: since 20.10 the engine
# sets net.ipv4.ip_unprivileged_port_start=0 in every container with a network of its own.
USER 65532:65532
EXPOSE 443
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/portcullis", "check", "--live"]
ENTRYPOINT ["/portcullis"]
CMD ["serve"]
