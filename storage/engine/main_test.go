package engine_test

import (
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
)

func TestMain(m *testing.M) { chtest.Main(m) }
