//! Copies whole images with skopeo, without compression or conversion.

use std::path::Path;

use crate::{
    context::Context,
    material::ALICE,
    programs,
    side::{Kind, Side},
};

/// The direction of a copy, with the local folder.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    Push(&'a Path),
    Pull(&'a Path),
}

/// Copies between a local folder and the image `image`, such as `some/thing:tag`, on the server.
pub(crate) fn copy(context: &Context, side: &Side, image: &str, way: Way<'_>) {
    let mut skopeo = programs::command("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--preserve-digests"]);
    let (folder, remote) = match way {
        Way::Push(folder) => (folder, "dest"),
        Way::Pull(folder) => (folder, "src"),
    };
    skopeo.arg(format!("--{remote}-cert-dir")).arg(context.material.trust());
    match side.kind {
        Kind::Portcullis | Kind::NginxAndRegistry => {
            skopeo.arg(format!("--{remote}-creds")).arg(format!("{}:{}", ALICE.name, ALICE.password));
        }
        Kind::Registry | Kind::Static => {
            skopeo.arg(format!("--{remote}-no-creds"));
        }
    }
    let (local, remote) = (format!("dir:{}", folder.display()), format!("docker://localhost:{}/{image}", side.port));
    let (from, to) = match way {
        Way::Push(_) => (local, remote),
        Way::Pull(_) => (remote, local),
    };
    programs::output(skopeo.arg(from).arg(to));
}
