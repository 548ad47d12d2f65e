//! The binary of `user`. See [`user::run`].

fn main() -> std::process::ExitCode {
    user::main()
}
