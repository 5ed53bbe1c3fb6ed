package main

import (
	"context"
	"os"
)

// containersPackage and containersTest are what test/skips.txt calls the part.
const containersPackage, containersTest = "test/containers", "TestContainers"

// containers makes the image, on a base that needs no registry, and starts what deploy/ ships on the engine of this
// machine. Making the base asks for root.
func containers(ctx context.Context, s *suite) tally {
	if err := s.command(ctx, nil, "docker", "version", "--format", "engine {{.Server.Version}}").Run(); err != nil {
		return s.skipPart(containersPackage, containersTest, "there is no container engine here: "+err.Error())
	}
	if os.Geteuid() != 0 {
		return s.skipPart(containersPackage, containersTest, "needs root, which makes the base image: run it as root")
	}
	t := check("script/install-deps", "containers")(ctx, s)
	if t.failed == 0 {
		t = check("make", "--no-print-directory", "image", "IMAGE_BASE=pgkeeper-base:bookworm", "IMAGE=pgkeeper:test")(ctx, s)
	}
	if t.failed == 0 {
		t.add(s.goTest(ctx, nil, "-vet=off", "-count=1", "-timeout", "15m", "-tags", "containers", "./test/containers"))
	}
	return t
}
