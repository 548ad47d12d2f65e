//! The `user` program; see [`user::run`].

fn main() -> std::process::ExitCode {
    user::main()
}
