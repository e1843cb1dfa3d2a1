//! The keys that are pressed, read on a thread of their own: the terminal tells of them by blocking.

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the thread waits before it looks whether it is still wanted.
const WAIT: Duration = Duration::from_millis(100);
/// Keys that nobody has taken yet.
const WAITING_MAX: usize = 64;

/// A key, as far as it means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Char(char),
    /// Ctrl-C.
    Break,
    /// The terminal has another size.
    Resized,
}

/// Where they come from.
pub(super) struct Keys {
    keys: mpsc::Receiver<Key>,
    over: Arc<AtomicBool>,
}

impl Keys {
    pub(super) fn listen() -> io::Result<Keys> {
        let (sender, keys) = mpsc::channel(WAITING_MAX);
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let read = move || {
            while !is_over.load(Ordering::SeqCst) {
                match event::poll(WAIT) {
                    Ok(false) => continue,
                    Ok(true) => {}
                    Err(_) => return,
                }
                let Ok(event) = event::read() else { return };
                if let Some(key) = key(&event)
                    && sender.blocking_send(key).is_err()
                {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("outlive-keys".to_owned())
            .spawn(read)?;
        Ok(Keys { keys, over })
    }

    /// The next one; `None` when there will be none.
    pub(super) async fn next(&mut self) -> Option<Key> {
        self.keys.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

fn key(event: &Event) -> Option<Key> {
    let pressed = match event {
        Event::Key(pressed) if pressed.kind != KeyEventKind::Release => pressed,
        Event::Resize(..) => return Some(Key::Resized),
        Event::Key(_)
        | Event::FocusGained
        | Event::FocusLost
        | Event::Mouse(_)
        | Event::Paste(_) => return None,
    };
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c') if control => Key::Break,
        KeyCode::Char(c) if !control => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
