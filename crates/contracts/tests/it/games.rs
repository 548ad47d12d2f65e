//! A game's name from a client becomes a label of a known game or "unknown", so clients cannot create metric dimensions.

use contracts::Game;

#[test]
fn every_game_parses_from_its_name() {
    for game in Game::ALL {
        assert_eq!(game.as_str().parse(), Ok(*game));
        assert_eq!(Game::label(game.as_str()), game.as_str());
        assert_ne!(game.as_str(), Game::UNKNOWN);
    }
}

#[test]
fn unknown_games_share_one_label() {
    for typed in ["", "Slots", "slots ", "roulette", "unknown", "g-4711", "\u{0}"] {
        assert!(typed.parse::<Game>().is_err(), "{typed:?}");
        assert_eq!(Game::label(typed), "unknown", "{typed:?}");
    }
}
