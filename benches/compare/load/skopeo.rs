//! Copies whole images with skopeo, without compression or conversion.

use std::path::Path;

use crate::{
    contender::{Contender, ContenderKind},
    context::BenchContext,
    external_programs,
    fixtures::ALICE,
};

/// The direction of a copy, with the local folder.
#[derive(Clone, Copy)]
pub(crate) enum CopyDirection<'a> {
    Push(&'a Path),
    Pull(&'a Path),
}

/// Copies between a local folder and the image `image`, such as `some/thing:tag`, on the server.
pub(crate) fn copy(context: &BenchContext, side: &Contender, image: &str, way: CopyDirection<'_>) {
    let mut skopeo = external_programs::command("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--preserve-digests"]);
    let (folder, remote) = match way {
        CopyDirection::Push(folder) => (folder, "dest"),
        CopyDirection::Pull(folder) => (folder, "src"),
    };
    skopeo.arg(format!("--{remote}-cert-dir")).arg(context.fixtures.ca_folder());
    match side.kind {
        ContenderKind::Portcullis | ContenderKind::NginxAndRegistry => {
            skopeo.arg(format!("--{remote}-creds")).arg(format!("{}:{}", ALICE.name, ALICE.password));
        }
        ContenderKind::Registry | ContenderKind::Static => {
            skopeo.arg(format!("--{remote}-no-creds"));
        }
    }
    let (local, remote) = (format!("dir:{}", folder.display()), format!("docker://localhost:{}/{image}", side.port));
    let (from, to) = match way {
        CopyDirection::Push(_) => (local, remote),
        CopyDirection::Pull(_) => (remote, local),
    };
    external_programs::output(skopeo.arg(from).arg(to));
}
