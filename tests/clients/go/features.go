// What the clients of this folder share: what the runner tells them (EMB_CLIENT_SETUP), and how they report what they tried:
// one line of JSON for each feature.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"sort"
	"strings"
	"time"
)

type setup struct {
	URL     string            `json:"url"`
	Keyed   string            `json:"keyed"`
	Key     string            `json:"key"`
	SlowKey string            `json:"slow_key"`
	Model   string            `json:"model"`
	Dim     int               `json:"dim"`
	Texts   map[string]string `json:"texts"`
	Vectors map[string]string `json:"vectors"`
	IDs     []int             `json:"ids"`
	TooLong string            `json:"too_long"`
}

var (
	given setup
	names []string
	batch []string
)

func readSetup() error {
	content, err := os.ReadFile(os.Getenv("EMB_CLIENT_SETUP"))
	if err != nil {
		return err
	}
	if err = json.Unmarshal(content, &given); err != nil {
		return err
	}
	for name := range given.Texts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		batch = append(batch, given.Texts[name])
	}
	return nil
}

// An error unless values are the server's vector of that name, bit by bit.
func same[F float32 | float64](values []F, name string) error {
	bytes := make([]byte, 0, 4*len(values))
	for _, value := range values {
		bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(float32(value)))
	}
	if base64.StdEncoding.EncodeToString(bytes) != given.Vectors[name] {
		return fmt.Errorf("the vector of %s is not the server's: %d values", name, len(values))
	}
	return nil
}

func says(err error, parts ...string) error {
	if err == nil {
		return fmt.Errorf("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			return fmt.Errorf("%q is not in %q", part, err)
		}
	}
	return nil
}

// Calls through a client that repeats by itself, with a key for one request a second: no error may come out.
func repeated(call func() error) error {
	start := time.Now()
	for range 3 {
		if err := call(); err != nil {
			return err
		}
	}
	if time.Since(start) < 900*time.Millisecond {
		return fmt.Errorf("none was refused")
	}
	return nil
}

type client struct{ name, version, dialect string }

// The version of the module, as this program was built with it.
func newClient(name, module, dialect string) client {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == module {
				version = strings.TrimPrefix(dep.Version, "v")
			}
		}
	}
	return client{name, version, dialect}
}

func (c client) feature(feature string, run func() error) {
	err := run()
	detail := ""
	if err != nil {
		detail = err.Error()
	}
	line, _ := json.Marshal(map[string]any{"client": c.name, "version": c.version, "dialect": c.dialect, "feature": feature,
		"ok": err == nil, "detail": detail})
	fmt.Println(string(line))
}

func main() {
	if err := readSetup(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tryOpenAI()
	tryGoOpenAI()
	tryOllama()
}
