//! Runs nginx as a proxy or as a server, with the certificate of a stage.
//!
//! Invariant: it writes nothing outside of the stage's directory, and is ready when it is returned.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use super::daemon::Daemon;
use super::server_dir::ServerDir;
use super::tool_command::require;

/// Starts nginx on `address`; `inside` is the content of its server block besides names and certificates.
pub(crate) fn start(stage: &ServerDir, address: SocketAddr, inside: &str) -> Daemon {
    let folder = stage.folder().display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/tmp-{kind};\n"))
        .concat();
    let own = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let text = format!(
        "{own} events {{}}\nhttp {{\n{temporary}access_log off;\nserver {{\n listen {address} ssl;\n server_name localhost;\n\
         ssl_certificate {folder}/certs/server.crt;\n ssl_certificate_key {folder}/certs/server.key;\n{inside}\n}}\n}}\n",
    );
    let file = stage.write("nginx.conf", &text);
    let mut command = Command::new(require("nginx"));
    command.arg("-p").arg(&folder).arg("-c").arg(file).arg("-e").arg("stderr");
    command.arg("-g").arg(format!("daemon off; pid {folder}/nginx.pid;"));
    let mut nginx = Daemon::start(command, stage.path("nginx.log"));
    nginx.wait_until(|| TcpStream::connect(address).is_ok());
    nginx
}
