//! Draws flame graphs of the server during pull and push, with user and kernel time.
//!
//! `make profile` builds the server with frame pointers and line tables for this. perf samples by the clock, because
//! virtual machines often have no hardware counters.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Child, Stdio},
    thread::sleep,
    time::Duration,
};

use inferno::{
    collapse::{
        Collapse as _,
        perf::{Folder, Options as Folding},
    },
    flamegraph::{self, Options as Drawing},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cases,
    contender::{Contender, ContenderKind},
    context::BenchContext,
    external_programs,
    load::{
        self, Http,
        upload::{self, UploadStyle},
    },
    random_blob::RandomBlob,
};

const REPOSITORY: &str = "large/blob";

/// Frames narrower than this share, in percent, are omitted; it keeps the files small enough for a browser.
const MIN_FRAME_PERCENT: f64 = 0.25;

/// Writes a flame graph of pull and of push for HTTP/1.1 and for HTTP/2.
pub(crate) fn draw(context: &BenchContext) {
    let folder = context.new_temp_dir();
    let mut blobs = RandomBlob::make_many(folder.path(), 1, context.megabytes(256));
    let side = Contender::start(context, ContenderKind::Portcullis);
    let kept = RandomBlob::make(folder.path().join("kept"), context.megabytes(256));
    upload::push_one(context, &side, REPOSITORY, &kept);
    for (http, name) in [(Http::One, "http1"), (Http::Two, "http2")] {
        record(context, &side, &format!("pull, {}", http.name()), &format!("pull-{name}.svg"), || {
            pull(context, &side, &kept, http);
        });
        record(context, &side, &format!("push, {}", http.name()), &format!("push-{name}.svg"), || {
            for _ in 0..4 {
                cases::push_once(context, &side, &mut blobs, http, UploadStyle::Stream);
            }
        });
    }
}

fn pull(context: &BenchContext, side: &Contender, blob: &RandomBlob, http: Http) {
    let path = format!("/v2/{REPOSITORY}/blobs/{}", blob.digest());
    let authorization = side.authorization(&format!("repository:{REPOSITORY}:pull"));
    let authorization = authorization.as_deref();
    load::pull(context, side, &path, authorization, (8, 1, blob.size()), http);
}

/// Samples the server while `load` runs, and writes the flame graph to `file`.
fn record(context: &BenchContext, side: &Contender, title: &str, file: &str, load: impl FnOnce()) {
    let samples = context.path("perf.data");
    let mut perf = start_perf(side, &samples);
    load();
    // perf writes its file when it is interrupted.
    kill_process(Pid::from_child(&perf), Signal::INT).unwrap();
    perf.wait().unwrap();

    let mut script = external_programs::command("perf");
    let script = external_programs::output(script.arg("script").arg("--input").arg(&samples));
    let target = BenchContext::repository_root().join("docs/benchmarks").join(file);
    fold_and_draw(&script, title, &target);
    println!("{}: {} KB", target.display(), fs::metadata(&target).unwrap().len() / 1024);
}

fn start_perf(side: &Contender, samples: &Path) -> Child {
    let ids = side.process_ids().iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let mut perf = external_programs::command("perf");
    perf.args(["record", "--quiet", "--event", "cpu-clock", "--freq", "997", "--call-graph", "fp", "--pid", &ids]);
    perf.arg("--output").arg(samples).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = perf.spawn().unwrap();
    // Until perf has attached to every thread.
    sleep(Duration::from_millis(500));
    child
}

fn fold_and_draw(script: &str, title: &str, target: &Path) {
    let mut folded = Vec::new();
    Folder::from(Folding::default()).collapse(script.as_bytes(), &mut folded).unwrap();
    let mut options = Drawing::default();
    title.clone_into(&mut options.title);
    options.subtitle = Some(format!("portcullis {}, samples of processor time", env!("CARGO_PKG_VERSION")));
    // Samples by the clock count nanoseconds, not events.
    "ns".clone_into(&mut options.count_name);
    options.min_width = MIN_FRAME_PERCENT;
    let mut svg = Vec::new();
    flamegraph::from_reader(&mut options, folded.as_slice(), &mut svg).unwrap();
    File::create(target).unwrap().write_all(&svg).unwrap();
}
