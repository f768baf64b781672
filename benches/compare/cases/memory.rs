//! Measures the resident memory of new servers: idle, the peak during eight concurrent pushes, and idle again.

use std::{thread::sleep, time::Duration};

use super::push_once;
use crate::{
    context::Context,
    data::Blob,
    load::{Http, upload::Style},
    outcome::{Goal, Row, Unit},
    samples::Samples,
    side::{Kind, Side},
};

const REST: Duration = Duration::from_secs(2);
const MEGABYTE: f64 = 1_048_576.0;
const KINDS: [Kind; 3] = [Kind::Portcullis, Kind::NginxAndRegistry, Kind::Registry];

pub(crate) fn measure(context: &Context) -> Vec<Row> {
    let folder = context.folder();
    let mut blobs = Blob::make_many(folder.path(), 8, context.megabytes(256));
    let mut measured = KINDS.map(|_| [const { Vec::new() }; 3]);
    // Fewer rounds: memory varies less than time, and this case takes long.
    for _ in 0..context.rounds.min(3) {
        for (kind, columns) in KINDS.into_iter().zip(&mut measured) {
            for (column, bytes) in columns.iter_mut().zip(one(context, kind, &mut blobs)) {
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
                (1, Kind::NginxAndRegistry) => row.goal(Goal::Ratio(1.0)),
                _ => row,
            });
        }
    }
    rows
}

/// The resident memory of one new server in bytes: idle, the peak during pushes, and idle again.
fn one(context: &Context, kind: Kind, blobs: &mut [Blob]) -> [f64; 3] {
    let side = Side::start(context, kind);
    sleep(REST);
    let fresh = side.memory().now;
    push_once(context, &side, blobs, Http::One, Style::Stream);
    let most = side.memory().peak;
    sleep(REST);
    [fresh, most, side.memory().now]
}
