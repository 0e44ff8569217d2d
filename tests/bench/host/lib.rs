// SPDX-License-Identifier: GPL-2.0

//! Nothing: a package of benches needs a library or a program.
