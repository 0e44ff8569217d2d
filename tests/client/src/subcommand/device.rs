// SPDX-License-Identifier: GPL-2.0

//! `client device`: a device used as a VMM uses it.

use crate::{
    device::{iommufd, net, vfio, vsock, Refusal, Steps},
    failure::Failure,
};

/// Use a device from the first call to the last byte moved, and look at every effect
///
/// Prints a line for each ioctl: its step's name and the answer. Exits with 3 where this machine
/// lacks the device.
#[derive(clap::Args)]
pub struct Options {
    device: Device,
    /// Make all calls as a 32-bit process does
    #[arg(long)]
    compat: bool,
    /// This step must be refused with that errno, write nothing, and have no effect
    #[arg(long, value_name = "STEP:ENAME")]
    refused: Vec<Refusal>,
    /// Of vfio: the container
    #[arg(long, value_name = "FILE", default_value = "/dev/vfio/vfio")]
    container: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Device {
    /// QEMU's edu by container and group
    Vfio,
    /// QEMU's edu by its own file and /dev/iommu
    Iommufd,
    /// vhost-net on a tap
    VhostNet,
    /// vhost-vsock
    VhostVsock,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let mut steps = Steps::new(options.compat, &options.refused);
    match options.device {
        Device::Vfio => vfio::run(&mut steps, &options.container),
        Device::Iommufd => iommufd::run(&mut steps),
        Device::VhostNet => net::run(&mut steps),
        Device::VhostVsock => vsock::run(&mut steps),
    }?;
    println!("{} steps", steps.end()?);
    Ok(())
}
