//! Partners: the outside world, played.

fn main() -> std::process::ExitCode {
    let service = chassis::Service::new(
        contracts::Part::Partners,
        env!("CARGO_PKG_VERSION"),
        include_str!("defaults.toml"),
    );
    chassis::main(service, partners::run)
}
