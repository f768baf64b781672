//! Starts nginx: configured as a proxy before a registry as in common manuals, or to serve static files.

use std::fs;

use super::ContenderFiles;
use crate::{external_programs, fixtures::CIPHER, process::ServerProcess};

impl ContenderFiles<'_> {
    pub(super) fn nginx_proxy(&self, registry: u16) -> ServerProcess {
        let users = self.material.users_file();
        let location = format!(
            "        location /v2/ {{
            auth_basic \"Registry\";
            auth_basic_user_file {};
            proxy_pass http://registry;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_request_buffering off;
            proxy_read_timeout 900;
        }}
",
            users.display()
        );
        let upstream =
            format!("    upstream registry {{\n        server 127.0.0.1:{registry};\n        keepalive 16;\n    }}\n");
        self.nginx(&upstream, &location)
    }

    pub(super) fn nginx_static(&self) -> ServerProcess {
        let location = format!("        location / {{\n            root {};\n        }}\n", self.data.display());
        self.nginx("", &location)
    }

    fn nginx(&self, upstream: &str, location: &str) -> ServerProcess {
        let path = self.folder.join("nginx.conf");
        fs::write(&path, self.nginx_configuration(upstream, location)).unwrap();
        let mut command = external_programs::command("nginx");
        // Its output before it has read the path of its log.
        let log = self.folder.join("nginx.log");
        ServerProcess::start(command.arg("-e").arg("stderr").arg("-c").arg(path), &log)
    }

    fn nginx_configuration(&self, upstream: &str, location: &str) -> String {
        let (folder, port) = (self.folder.display(), self.port);
        let (certificate, key) = (self.material.certificate(), self.material.key());
        let (certificate, key) = (certificate.display(), key.display());
        // Started by root, workers switch to another user, which could not read the folders of the benchmark.
        let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
        format!(
            "{user}daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
worker_processes auto;
events {{
    worker_connections 1024;
}}
http {{
    access_log {folder}/nginx-access.log;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{upstream}    server {{
        listen 127.0.0.1:{port} ssl http2;
        server_name localhost;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_conf_command Ciphersuites {CIPHER};
        ssl_session_cache shared:TLS:10m;
        client_max_body_size 0;
        chunked_transfer_encoding on;
        location = /healthz {{
            return 200 \"alive\\n\";
        }}
{location}    }}
}}
"
        )
    }
}
