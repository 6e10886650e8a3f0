//! `tests/bench`: measurements beside the same run without faults, or beside a peer interleaved in the same run.

mod ended;
mod fanout;
mod gaps;
mod journal;
mod options;
mod releases;
mod table;
mod tasks;

use options::{Options, What};

fn main() -> std::process::ExitCode {
    // What the flood's turn runs.
    if let Some(rate) = std::env::args().skip_while(|argument| argument != tasks::LINES).nth(1) {
        tasks::write_lines(rate.parse().expect("a number"));
        return std::process::ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return std::process::ExitCode::from(2);
        }
    };
    // Each prints before its node is removed, which takes long with very many files.
    let print = |table: table::Table| table.print(options.json);
    match options.what {
        What::Switch | What::Crash | What::Update => holdfast_tests::run(gaps::measure(&options, print)),
        What::Fanout => print(holdfast_tests::run(fanout::measure(&options))),
        What::Journal => print(journal::measure(&options)),
        What::Tasks => holdfast_tests::run(tasks::measure(&options, print)),
    }
    std::process::ExitCode::SUCCESS
}
