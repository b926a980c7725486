// ollama/api, the client inside Ollama itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ollama/ollama/api"
)

func ollamaFails(err error, status int, parts ...string) error {
	var refusal api.StatusError
	if !errors.As(err, &refusal) {
		return fmt.Errorf("not an error of the API: %v", err)
	}
	if refusal.StatusCode != status {
		return fmt.Errorf("%d: %w", refusal.StatusCode, err)
	}
	return says(err, parts...)
}

func tryOllama() {
	c := newClient("ollama/api (Go)", "github.com/ollama/ollama", "Ollama")
	base, err := url.Parse(given.URL)
	if err != nil {
		panic(err)
	}
	client := api.NewClient(base, http.DefaultClient)
	ctx := context.Background()
	embed := func(input any, change func(*api.EmbedRequest)) ([][]float32, error) {
		request := api.EmbedRequest{Model: given.Model, Input: input}
		change(&request)
		reply, err := client.Embed(ctx, &request)
		if err != nil {
			return nil, err
		}
		return reply.Embeddings, nil
	}
	asIs := func(*api.EmbedRequest) {}
	sameAs := func(input any, name string, change func(*api.EmbedRequest)) error {
		vectors, err := embed(input, change)
		if err != nil {
			return err
		}
		return same(vectors[0], name)
	}
	short := given.Texts["short"]

	c.feature("single", func() error { return sameAs(short, "short", asIs) })
	c.feature("batch", func() error {
		vectors, err := embed(batch, asIs)
		if err != nil {
			return err
		}
		for i, name := range names {
			if err := same(vectors[i], name); err != nil {
				return err
			}
		}
		return nil
	})
	c.feature("old route", func() error {
		reply, err := client.Embeddings(ctx, &api.EmbeddingRequest{Model: given.Model, Prompt: short})
		if err == nil && len(reply.Embedding) != given.Dim {
			return fmt.Errorf("%d values", len(reply.Embedding))
		}
		return err
	})
	c.feature("dimensions", func() error { return sameAs(short, "short:128", func(r *api.EmbedRequest) { r.Dimensions = 128 }) })
	c.feature("empty text", func() error { return sameAs([]string{""}, "empty", asIs) })
	c.feature("truncate", func() error { return sameAs(given.TooLong, "truncated", asIs) })
	c.feature("too long", func() error {
		no := false
		_, err := embed(given.TooLong, func(r *api.EmbedRequest) { r.Truncate = &no })
		return ollamaFails(err, 400, "context length")
	})
	c.feature("models", func() error {
		if err := client.Heartbeat(ctx); err != nil {
			return err
		}
		if _, err := client.Version(ctx); err != nil {
			return err
		}
		list, err := client.List(ctx)
		if err != nil {
			return err
		}
		if len(list.Models) == 0 || strings.TrimSuffix(list.Models[0].Model, ":latest") != given.Model {
			return fmt.Errorf("%v", list.Models)
		}
		if _, err := client.ListRunning(ctx); err != nil {
			return err
		}
		_, err = client.Show(ctx, &api.ShowRequest{Model: given.Model})
		return err
	})
	c.feature("unknown model", func() error {
		_, err := embed("x", func(r *api.EmbedRequest) { r.Model = "no-such" })
		return ollamaFails(err, 404, "no-such", "not found")
	})
}
