//! Binary of the analytics service with the regression. It differs from `main.rs` by its name and by the feature that it needs.

fn main() -> std::process::ExitCode {
    analytics::main()
}
