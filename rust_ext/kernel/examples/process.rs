//! The kernel by itself, for profilers: `process PLAN.json FILE OUT [THREADS] [RUNS]` prints each run's seconds and counts.

use std::{env, error::Error, fs, path::PathBuf, time::Instant};

use dpipe_kernel::{
    plan::Plan,
    read::Source,
    run::{Alone, Options, run},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("{what} is missing"));
    let plan = Plan::from_json(&fs::read_to_string(next("PLAN.json")?)?)?;
    let path = PathBuf::from(next("FILE")?);
    let out = PathBuf::from(next("OUT")?);
    let threads = next("").map_or(Ok(0), |text| text.parse())?;
    let runs = next("").map_or(Ok(1), |text| text.parse())?;
    for number in 0..runs {
        let folder = out.join(number.to_string());
        let mut options = Options::new(folder.join("data"), folder.join("quarantine"));
        options.threads = threads;
        options.profile = env::var_os("NO_PROFILE").is_none();
        let source = Source::of("batch", path.clone());
        let start = Instant::now();
        let outcome = run(&plan, &[source], &options, &mut Alone)?;
        let seconds = start.elapsed().as_secs_f64();
        let batch = &outcome.batches[0];
        let bytes: u64 = outcome.files.iter().map(|file| file.bytes).sum();
        println!(
            "{seconds:.3} s, {:.0} MB/s: {} in = {} accepted + {} rejected + {} duplicate; {bytes} bytes in {} files",
            batch.bytes_in as f64 / seconds / 1e6,
            batch.records_in,
            batch.accepted,
            batch.rejected,
            batch.duplicate,
            outcome.files.len(),
        );
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}
