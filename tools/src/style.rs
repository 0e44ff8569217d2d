// SPDX-License-Identifier: GPL-2.0

//! How things look: on a terminal; elsewhere, and where NO_COLOR is set, anstream takes it away.

use anstyle::{AnsiColor, Style};
use clap::builder::Styles;

/// Titles.
pub(crate) const TITLE: Style = Style::new().bold();
/// Mistakes.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What is odd.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// What marks a place in a line.
pub(crate) const MARK: Style = AnsiColor::Green.on_default().bold();
/// What a policy can say as it stands here.
pub(crate) const CODE: Style = AnsiColor::Cyan.on_default();

/// The help.
pub(crate) const HELP: Styles = Styles::styled()
    .header(TITLE)
    .usage(TITLE)
    .literal(CODE)
    .error(ERROR)
    .valid(MARK)
    .invalid(WARNING);
