//! `tests/bench`: measurements beside the same run without faults, or beside a peer interleaved in the same run.

mod fanout;
mod gaps;
mod journal;
mod options;
mod table;

use options::{Options, What};

fn main() -> std::process::ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return std::process::ExitCode::from(2);
        }
    };
    let table = match options.what {
        What::Switch | What::Crash => holdfast_tests::run(gaps::measure(&options)),
        What::Fanout => holdfast_tests::run(fanout::measure(&options)),
        What::Journal => journal::measure(&options),
    };
    table.print(options.json);
    std::process::ExitCode::SUCCESS
}
