// sashabaranov/go-openai.
package main

import (
	"context"
	"errors"
	"fmt"

	goopenai "github.com/sashabaranov/go-openai"
)

func goopenaiAt(url, key string) *goopenai.Client {
	config := goopenai.DefaultConfig(key)
	config.BaseURL = url + "/v1"
	return goopenai.NewClientWithConfig(config)
}

func goopenaiFails(err error, status int, parts ...string) error {
	var refusal *goopenai.APIError
	if !errors.As(err, &refusal) {
		return fmt.Errorf("not an error of the API: %v", err)
	}
	if refusal.HTTPStatusCode != status {
		return err
	}
	return says(errors.New(refusal.Message), parts...)
}

func tryGoOpenAI() {
	c := newClient("sashabaranov/go-openai", "github.com/sashabaranov/go-openai", "OpenAI")
	api := goopenaiAt(given.URL, "any")
	create := func(api *goopenai.Client, input any, change func(*goopenai.EmbeddingRequest)) ([]goopenai.Embedding, error) {
		request := goopenai.EmbeddingRequest{Model: goopenai.EmbeddingModel(given.Model), Input: input}
		change(&request)
		reply, err := api.CreateEmbeddings(context.Background(), request)
		return reply.Data, err
	}
	asIs := func(*goopenai.EmbeddingRequest) {}
	sameAs := func(input any, name string, change func(*goopenai.EmbeddingRequest)) error {
		data, err := create(api, input, change)
		if err != nil {
			return err
		}
		return same(data[0].Embedding, name)
	}
	short := given.Texts["short"]

	c.feature("single", func() error { return sameAs(short, "short", asIs) })
	c.feature("batch", func() error {
		data, err := create(api, batch, asIs)
		if err != nil {
			return err
		}
		for i, name := range names {
			if err := same(data[i].Embedding, name); err != nil {
				return err
			}
		}
		return nil
	})
	c.feature("base64", func() error {
		return sameAs(short, "short", func(r *goopenai.EmbeddingRequest) { r.EncodingFormat = goopenai.EmbeddingEncodingFormatBase64 })
	})
	c.feature("dimensions", func() error {
		return sameAs(short, "short:128", func(r *goopenai.EmbeddingRequest) { r.Dimensions = 128 })
	})
	c.feature("token ids", func() error { return sameAs([][]int{given.IDs}, "short", asIs) })
	c.feature("models", func() error {
		model, err := api.GetModel(context.Background(), given.Model)
		if err == nil && model.ID != given.Model {
			return fmt.Errorf("%v", model)
		}
		return err
	})
	c.feature("unknown model", func() error {
		_, err := create(api, short, func(r *goopenai.EmbeddingRequest) { r.Model = "no-such" })
		return goopenaiFails(err, 404, "no-such")
	})
	c.feature("too long", func() error {
		_, err := create(api, given.TooLong, asIs)
		return goopenaiFails(err, 400, "512 tokens", "602")
	})
	c.feature("wrong key", func() error {
		_, err := create(goopenaiAt(given.Keyed, "wrong-key"), short, asIs)
		return goopenaiFails(err, 401)
	})
}
