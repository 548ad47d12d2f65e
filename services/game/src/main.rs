//! Binary of the game service. The program itself is in `lib.rs`.

fn main() -> std::process::ExitCode {
    game::main()
}
