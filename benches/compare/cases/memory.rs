//! Measures the resident memory of new servers: idle, the peak during eight concurrent pushes, and idle again.

use std::{thread::sleep, time::Duration};

use super::push_once;
use crate::{
    contender::{Contender, ContenderKind},
    context::BenchContext,
    load::{Http, upload::UploadStyle},
    random_blob::RandomBlob,
    result_row::{Goal, Row, Unit},
    samples::Samples,
};

const IDLE_TIME: Duration = Duration::from_secs(2);
const MEGABYTE: f64 = 1_048_576.0;
const KINDS: [ContenderKind; 3] = [ContenderKind::Portcullis, ContenderKind::NginxAndRegistry, ContenderKind::Registry];

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    let folder = context.new_temp_dir();
    let mut blobs = RandomBlob::make_many(folder.path(), 8, context.megabytes(256));
    let mut measured = KINDS.map(|_| [const { Vec::new() }; 3]);
    // Fewer rounds: memory varies less than time, and this case takes long.
    for _ in 0..context.rounds.min(3) {
        for (kind, columns) in KINDS.into_iter().zip(&mut measured) {
            for (column, bytes) in columns.iter_mut().zip(measure_one(context, kind, &mut blobs)) {
                column.push(bytes / MEGABYTE);
            }
        }
    }
    let [ours, proxied, bare] = measured.map(|columns| columns.map(Samples::new));
    let moments = ["idle", "peak, 8 pushes of 256 MB at once", "idle after that"];
    let mut rows = Vec::new();
    for (index, moment) in moments.into_iter().enumerate() {
        for (kind, theirs) in [(KINDS[1], &proxied), (KINDS[2], &bare)] {
            let name = format!("memory {moment}");
            let row = Row::new(name, Unit::Megabytes, &ours[index], (kind.name(), &theirs[index]));
            rows.push(match (index, kind) {
                (0, _) => row.goal(Goal::Value(30.0)),
                (1, ContenderKind::NginxAndRegistry) => row.goal(Goal::Ratio(1.0)),
                _ => row,
            });
        }
    }
    rows
}

/// The resident memory of one new server in bytes: idle, the peak during pushes, and idle again.
fn measure_one(context: &BenchContext, kind: ContenderKind, blobs: &mut [RandomBlob]) -> [f64; 3] {
    let side = Contender::start(context, kind);
    sleep(IDLE_TIME);
    let fresh = side.memory().now;
    push_once(context, &side, blobs, Http::One, UploadStyle::Stream);
    let most = side.memory().peak;
    sleep(IDLE_TIME);
    [fresh, most, side.memory().now]
}
