//! Binary of the notification service. The program itself is in `lib.rs`.

fn main() -> std::process::ExitCode {
    notification::main()
}
